package filesys

import "time"

// Settled is how old a file must be before what was read of it is remembered by its [StateOf].
const Settled = 2 * time.Second
