"""What trials show: which failure there is, which causes evidence speaks for, which change is a cure."""
