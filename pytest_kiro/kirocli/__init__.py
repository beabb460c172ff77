"""F3, know-how: what is known about kiro-cli, its words, its files and its moods."""
