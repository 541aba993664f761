"""Words of English captions: tokens, base forms, object words. Heavy language resources are injected as callables."""
