"""Generators: pictures from them, editing and measuring, over one interface (`generator`)."""
