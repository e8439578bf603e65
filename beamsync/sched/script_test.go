// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

var update = flag.Bool("update", false, "rewrite the expected actions in testdata")

// TestScripts replays the scripts in testdata. A line that begins with ">" is an event,
// optionally at a time since the start ("> 1.5s tick"). The indented lines after it are the
// actions that it must cause. All other lines are comments. Events:
//
//	join PEER... | leave PEER | head PEER NUMBER
//	hash PEER...    peers join that serve state by hash only
//	want CLASS KIND ROOT ID[-ID]... [cost=N] | raise ID CLASS | cancel ID
//	reply REQUEST [ID...] [empty|cut|invalid]    it satisfies the wants listed; all, if nothing follows the request
//	fail REQUEST timeout|disconnected|unsupported|broken
//	tick
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := strings.Split(string(text), "\n")
			for i, line := range strings.Split(got, "\n") {
				if i >= len(want) || line != want[i] {
					t.Fatalf("%s:%d: got %q, want otherwise; all actions:\n%s", file, i+1, line, got)
				}
			}
		})
	}
}

// replay runs a script and returns it with the actions that the scheduler took.
func replay(t *testing.T, text string) string {
	var (
		out   strings.Builder
		s     = New()
		start = time.Unix(1_000_000, 0)
		now   = start
		sent  = make(map[RequestID]Send)
	)
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if !strings.HasPrefix(line, "> ") {
			continue
		}
		words := strings.Fields(line[2:])
		if d, err := time.ParseDuration(words[0]); err == nil {
			if start.Add(d).Before(now) {
				t.Fatalf("line %d: time goes back", i+1)
			}
			now, words = start.Add(d), words[1:]
		}
		events, err := parseEvents(words, sent)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		for _, ev := range events {
			for _, a := range s.Step(now, ev) {
				if send, ok := a.(Send); ok {
					sent[send.Request] = send
				}
				fmt.Fprintf(&out, "  %s\n", describe(a, start))
			}
			if err := s.check(); err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
		}
	}
	return out.String()
}

func parseEvents(words []string, sent map[RequestID]Send) ([]Event, error) {
	verb, args := words[0], words[1:]
	switch verb {
	case "join", "hash":
		var events []Event
		for _, id := range args {
			events = append(events, PeerJoined{ID: id, ByHash: verb == "hash"})
		}
		return events, nil
	case "leave":
		return []Event{PeerLeft{args[0]}}, nil
	case "head":
		n, err := strconv.ParseUint(args[1], 10, 64)
		return []Event{PeerHead{args[0], n}}, err
	case "want":
		ev, err := parseWants(args)
		return []Event{ev}, err
	case "raise":
		n, err := strconv.ParseUint(args[0], 10, 64)
		return []Event{WantRaised{WantID(n), classOf(args[1])}}, err
	case "cancel":
		n, err := strconv.ParseUint(args[0], 10, 64)
		return []Event{WantCancelled{[]WantID{WantID(n)}}}, err
	case "reply":
		ev, err := parseReply(args, sent)
		return []Event{ev}, err
	case "fail":
		n, err := strconv.ParseUint(args[0], 10, 64)
		f := slices.Index([]string{"timeout", "disconnected", "unsupported", "broken"}, args[1])
		if f < 0 {
			return nil, fmt.Errorf("unknown failure %q", args[1])
		}
		return []Event{Failed{RequestID(n), Failure(f)}}, err
	case "tick":
		return []Event{Tick{}}, nil
	}
	return nil, fmt.Errorf("unknown event %q", verb)
}

func classOf(name string) Class {
	return Class(slices.IndexFunc(Classes(), func(c Class) bool { return c.String() == name }))
}

func parseWants(args []string) (Event, error) {
	kind := Node
	if args[1] == "code" {
		kind = Code
	}
	cost := 1
	var ids []WantID
	for _, a := range args[3:] {
		if n, ok := strings.CutPrefix(a, "cost="); ok {
			cost, _ = strconv.Atoi(n)
			continue
		}
		first, last, ok := strings.Cut(a, "-")
		if !ok {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil, err
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return nil, err
		}
		for id := from; id <= to; id++ {
			ids = append(ids, WantID(id))
		}
	}
	var ev WantAdded
	for _, id := range ids {
		ev.Wants = append(ev.Wants, Want{ID: id, Class: classOf(args[0]), Kind: kind, Root: common.BytesToHash([]byte(args[2])), Cost: cost})
	}
	return ev, nil
}

func parseReply(args []string, sent map[RequestID]Send) (Event, error) {
	n, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return nil, err
	}
	ev := Responded{Request: RequestID(n)}
	for _, a := range args[1:] {
		switch a {
		case "empty":
			ev.Empty = true
		case "cut":
			ev.Cut = true
		case "invalid":
			ev.Invalid = true
		default:
			id, err := strconv.ParseUint(a, 10, 64)
			if err != nil {
				return nil, err
			}
			ev.Satisfied = append(ev.Satisfied, WantID(id))
		}
	}
	send := sent[ev.Request]
	if len(args) == 1 {
		ev.Satisfied = send.Wants
	}
	for _, id := range send.Wants {
		if !slices.Contains(ev.Satisfied, id) {
			ev.Unsatisfied = append(ev.Unsatisfied, id)
		}
	}
	return ev, nil
}

func describe(a Action, start time.Time) string {
	switch a := a.(type) {
	case Send:
		verb := "send"
		if a.Hedge {
			verb = "hedge"
		}
		return fmt.Sprintf("%s #%d to %s: %s %s [%s]", verb, a.Request, a.Peer, a.Kind, strings.Trim(string(a.Root[:]), "\x00"), spans(a.Wants))
	case Cancel:
		return fmt.Sprintf("cancel #%d", a.Request)
	case Blame:
		return fmt.Sprintf("blame %s: %s", a.Peer, a.Reason)
	case WakeAt:
		if a.Time.IsZero() {
			return "sleep"
		}
		return fmt.Sprintf("wake at %v", a.Time.Sub(start))
	}
	return fmt.Sprintf("%T", a)
}

// spans writes 1 2 3 7 as 1-3 7.
func spans(ids []WantID) string {
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(ids[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ids[i], ids[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, " ")
}
