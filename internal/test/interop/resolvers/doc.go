// Package resolvers asks the same questions through the resolvers that people run: with
// and without validation, each alone in a network namespace at the address that it
// usually has. It contains only tests, which need Linux.
package resolvers
