"""What happened over a run, series by series: what every rule reads and none of them judges."""
