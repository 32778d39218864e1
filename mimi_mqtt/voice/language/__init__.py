"""The languages of a conversation: names, detection, and the one being spoken."""
