"""The rule about NaN and infinities."""
