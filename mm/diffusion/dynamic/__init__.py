"""Words that are learned anew at every step of a picture's trajectory, so that each looks at its object."""
