// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"encoding/json"
	"reflect"
	"strings"
)

const errorPrefix = "error "

func isError(response string) bool { return strings.HasPrefix(response, errorPrefix) }

// allowed are the differences from go-ethereum that are meant, each with its reason.
var allowed = []struct { //nolint:gochecknoglobals // never written
	reason string
	is     func(Difference) bool
}{
	{"the texts of errors about parameters that do not decode name Go types", func(d Difference) bool {
		const undecoded = errorPrefix + "-32602 <nil>: invalid argument "
		return strings.HasPrefix(d.Got, undecoded) && strings.HasPrefix(d.Want, undecoded)
	}},
	{"go-ethereum writes a hash as a list of numbers in the error", func(d Difference) bool {
		return strings.HasPrefix(d.Method, "debug_getRaw") && isError(d.Got) && strings.Contains(d.Want, "#[") && strings.HasSuffix(d.Want, "] not found")
	}},
	{"go-ethereum returns no receipts for an unknown block", func(d Difference) bool {
		return d.Method == "debug_getRawReceipts" && d.Want == "[]" && isError(d.Got)
	}},
	{"debug_getRaw* honours requireCanonical, which go-ethereum ignores", func(d Difference) bool {
		return strings.HasPrefix(d.Method, "debug_getRaw") && strings.HasSuffix(d.Got, "hash is not currently canonical")
	}},
	{"go-ethereum returns no transaction for a safe or finalized block that is not set", func(d Difference) bool {
		return d.Method == "eth_getRawTransactionByBlockNumberAndIndex" && d.Want == `"0x"` && strings.HasSuffix(d.Got, " block not found")
	}},
	{"go-ethereum looks for the state of the pending block in its database", func(d Difference) bool {
		return d.Method == "eth_getProof" && strings.HasSuffix(d.Got, "the pending block is not stored") && isError(d.Want)
	}},
	{"the base fees that go-ethereum returns for the first block of a fork depend on the order of its goroutines", func(d Difference) bool {
		return d.Method == "eth_feeHistory" && sameButFewBaseFees(d.Got, d.Want)
	}},
	{"go-ethereum crashes", func(d Difference) bool {
		return strings.HasPrefix(d.Want, errorPrefix+"-32603 <nil>: method handler crashed") && isError(d.Got)
	}},
}

// maxForks is how many forks change the rules of base fees, in any chain.
const maxForks = 10

// sameButFewBaseFees says whether two fee histories differ in few base fees only.
func sameButFewBaseFees(got, want string) bool {
	var ours, theirs map[string][]any
	if json.Unmarshal([]byte(withoutOldest(got)), &ours) != nil || json.Unmarshal([]byte(withoutOldest(want)), &theirs) != nil {
		return false
	}
	differ := 0
	for _, name := range []string{"baseFeePerGas", "baseFeePerBlobGas"} {
		if len(ours[name]) != len(theirs[name]) {
			return false
		}
		for i := range ours[name] {
			if ours[name][i] != theirs[name][i] {
				differ++
			}
		}
		delete(ours, name)
		delete(theirs, name)
	}
	return differ <= maxForks && reflect.DeepEqual(ours, theirs)
}

// withoutOldest makes the only member of a fee history that is no list one.
func withoutOldest(history string) string {
	rest, found := strings.CutPrefix(history, `{"oldestBlock":`)
	if !found {
		return ""
	}
	oldest, rest, _ := strings.Cut(rest, ",")
	return `{"oldestBlock":[` + oldest + "]," + rest
}

// Allowed returns why a difference is meant, empty if it is none of those.
func Allowed(d Difference) string {
	for _, a := range allowed {
		if a.is(d) {
			return a.reason
		}
	}
	return ""
}
