"""Pages to print and to show: an ethogram, and what an eye has learnt. The only place that knows matplotlib."""
