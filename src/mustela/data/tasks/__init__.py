"""From annotated pictures to conversations."""
