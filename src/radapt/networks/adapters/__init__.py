"""What of an encoder is trained: everything, some of its layers, or small adapters beside them."""
