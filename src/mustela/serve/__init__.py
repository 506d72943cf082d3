"""The server: OpenAI's chat interface with regions, and the page to draw and ask on."""
