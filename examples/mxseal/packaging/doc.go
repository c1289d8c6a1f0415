// Package packaging has the files of the Debian package and the rpm of mxseal, and their
// tests. .ci/package makes the packages.
package packaging
