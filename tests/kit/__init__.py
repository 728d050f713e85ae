"""What tests share: peers, pairs, loops and wires, references, snippets. Nothing here is a test."""
