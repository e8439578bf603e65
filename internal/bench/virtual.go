// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"os"
	"testing"
	"testing/synctest"
)

// Bubble runs f in virtual time: time stands still while anything computes and jumps when
// everything waits. What f starts must be over when it returns.
type Bubble func(f func())

// Main calls run with a working bubble and ends the process with the code that run returns.
//
// Virtual time belongs to package testing and is to be had inside a test only, so the process
// becomes one: the one whose body is run. The command line is hidden from it; parse it before.
func Main(run func(Bubble) int) {
	os.Args = os.Args[:1]
	body := func(t *testing.T) {
		code := run(func(f func()) {
			synctest.Test(t, func(*testing.T) { f() })
		})
		os.Exit(code) //nolint:forbidigo // for cmd: a test that returns prints its verdict, which is not ours
	}
	matchAll := func(string, string) (bool, error) { return true, nil }
	testing.Main(matchAll, []testing.InternalTest{{Name: "bench", F: body}}, nil, nil)
}
