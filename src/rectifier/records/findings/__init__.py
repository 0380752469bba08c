"""What a diagnosis says, as codes and numbers."""
