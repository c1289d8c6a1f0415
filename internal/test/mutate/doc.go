// Package mutate changes the code that decides security, one small change at a time, and
// runs the tests. A change that no test notices shows what is not tested.
//
// All changes of a package are compiled into one test program, and an environment variable
// switches one of them on. A first run records which tests reach a change in a state in which
// it makes a difference. Only these tests can notice it, so only they are run.
package mutate
