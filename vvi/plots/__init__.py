"""Figures: arrays or a module in, a Figure out. One function per figure; computing and drawing are separate; no method, no stored run and no screen is known here."""
