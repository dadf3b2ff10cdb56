"""Loop nests over the elements of tiles: maps, windows, reductions, scans, scattered stores."""
