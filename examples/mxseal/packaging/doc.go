// Package packaging has what the packages of mxseal for Debian and as rpm consist of, and
// their tests. .ci/package makes the packages.
package packaging
