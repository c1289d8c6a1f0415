// Package message reads a message before it is sent. [Scan] reports what the
// server must support and what the parameters of MAIL must say. [Convert] turns
// 8-bit text into 7-bit text for a server without 8BITMIME.
//
// A message is an [io.ReaderAt] and a size, as [bytes.Reader] and [os.File] are.
// It is read as often as needed, in pieces: memory does not grow with the
// message or with its lines. Lines end in LF or CRLF, and are sent with CRLF.
//
// Functions of this package may be called concurrently, even with the same reader.
// Nothing is remembered between calls.
package message
