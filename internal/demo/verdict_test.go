// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	good := tally{wanted: 6, questions: true, full: true, valid: 6, same: 54}
	with := func(change func(*tally)) tally {
		changed := good
		change(&changed)
		return changed
	}
	for name, test := range map[string]struct {
		tally tally
		want  string // part of the error; empty: success
	}{
		"all as geth's":                  {good, ""},
		"nothing was to be compared":     {tally{wanted: 6, full: true, valid: 6}, ""},
		"not full":                       {with(func(t *tally) { t.full = false }), "not got the whole state"},
		"until interrupted":              {tally{interrupted: true, questions: true, valid: 9, same: 3}, ""},
		"interrupted before the end":     {with(func(t *tally) { t.interrupted, t.valid, t.open = true, 2, 1 }), ""},
		"interrupted at once":            {tally{interrupted: true, questions: true}, ""},
		"some unanswered":                {with(func(t *tally) { t.same, t.unanswered = 1, 53 }), ""},
		"one wrong answer":               {with(func(t *tally) { t.different = 1 }), "1 of 55 answers differ"},
		"one wrong, all else unanswered": {with(func(t *tally) { t.same, t.different, t.unanswered = 0, 1, 53 }), "1 of 1 answers differ"},
		"wrong and interrupted":          {with(func(t *tally) { t.interrupted, t.different = true, 1 }), "differ"},
		"an INVALID block":               {with(func(t *tally) { t.valid, t.invalid = 5, 1 }), "1 blocks that geth built are INVALID"},
		"INVALID and interrupted":        {with(func(t *tally) { t.interrupted, t.invalid = true, 1 }), "INVALID"},
		"a block without a verdict":      {with(func(t *tally) { t.valid, t.open = 5, 1 }), "unfinished: 5 of 6 blocks were VALID, 1 still had no verdict"},
		"nothing answered":               {with(func(t *tally) { t.same, t.unanswered = 0, 54 }), "no answer could be compared"},
		"nothing answered, interrupted":  {with(func(t *tally) { t.interrupted, t.same, t.unanswered = true, 0, 9 }), "no answer could be compared"},
		"nothing asked":                  {with(func(t *tally) { t.same = 0 }), "no answer was compared"},
	} {
		err := test.tally.verdict()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: the verdict is %v, want one with %q", name, err, test.want)
		}
	}
}
