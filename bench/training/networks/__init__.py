"""Networks written for torch, which know nothing of tritongrad: `bench.training.sources` reads them under either."""
