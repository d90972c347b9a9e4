"""What the programs share: settings, flags, opening things, how they start and end."""
