"""Words that everything else is said in: errors, time, names, shapes, progress."""
