"""What a worker process runs first, in place of the user's script (see `pool._spawning`): it imports grain quietly."""

from tritongrad.data import pool as pool
