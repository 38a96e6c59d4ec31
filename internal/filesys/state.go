package filesys

import "time"

// Settled is the age from which on the content of a file can be remembered under its [StateOf].
const Settled = 2 * time.Second
