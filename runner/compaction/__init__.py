"""Conversations too long for the model: their beginning is summarised by a hidden agent of ours."""
