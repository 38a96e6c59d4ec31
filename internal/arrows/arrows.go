// Package arrows holds a test that reads the imports of the whole module and explains itself when
// an arrow points up. The house is drawn in ARCHITECTURE.md: mapreduce stands on coordinator and
// worker, those on internal, that on proto.
package arrows
