"""The command line: chat, watch and operate, through a gateway and through nothing else."""
