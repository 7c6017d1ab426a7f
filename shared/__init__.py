"""What every process of Baton rests on; it imports none of them."""
