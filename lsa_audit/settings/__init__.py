"""What a user may set: profiles, gates, limits, recipes; strict YAML. Data, never code."""
