"""What a watched training leaves behind."""
