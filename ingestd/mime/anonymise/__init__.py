"""Mail without what it says: a message that parses like another one, and can be shown to strangers."""
