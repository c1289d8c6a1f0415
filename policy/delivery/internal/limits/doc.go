// Package limits bounds what goes on at the same time: the deliveries of one message, and
// what all calls do for one domain or with one host. What stalls keeps its place from
// others for a short time only, or makes them fail soon.
package limits
