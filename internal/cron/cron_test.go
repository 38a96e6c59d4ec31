package cron

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no time zones
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// fires returns the next n fires after a time, as text.
func fires(t testing.TB, expr string, loc *time.Location, after string, n int) (all []string) {
	t.Helper()
	e, err := Parse(expr, loc)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", after, loc)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		at = e.Next(at)
		all = append(all, at.Format("Mon 2006-01-02 15:04 MST"))
	}
	return all
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ expr, zone, after, want string }{
		{"* * * * *", "UTC", "2026-01-01 00:00:00", "Thu 2026-01-01 00:01 UTC, Thu 2026-01-01 00:02 UTC"},
		{"* * * * *", "UTC", "2026-01-01 00:00:59", "Thu 2026-01-01 00:01 UTC"},
		{"*/15 * * * *", "UTC", "2026-01-01 23:45:00", "Fri 2026-01-02 00:00 UTC, Fri 2026-01-02 00:15 UTC"},
		{"5-59/20 8-18/5 * * *", "UTC", "2026-01-01 08:45:00", "Thu 2026-01-01 13:05 UTC, Thu 2026-01-01 13:25 UTC, Thu 2026-01-01 13:45 UTC, Thu 2026-01-01 18:05 UTC"},
		{"30 2 * * mon-fri", "UTC", "2026-01-02 02:30:00", "Mon 2026-01-05 02:30 UTC"},
		{"0 9 * JAN,jul SUN", "UTC", "2026-01-25 09:00:00", "Sun 2026-07-05 09:00 UTC"},
		{"0 0 * * 7", "UTC", "2026-01-01 00:00:00", "Sun 2026-01-04 00:00 UTC"},
		{"0 0 * * fri-sun", "UTC", "2026-01-01 00:00:00", "Fri 2026-01-02 00:00 UTC, Sat 2026-01-03 00:00 UTC, Sun 2026-01-04 00:00 UTC, Fri 2026-01-09 00:00 UTC"},
		{"0 0 13 * fri", "UTC", "2026-01-09 00:00:00", "Tue 2026-01-13 00:00 UTC, Fri 2026-01-16 00:00 UTC"}, // either day
		{"0 0 */2 * fri", "UTC", "2026-01-02 00:00:00", "Fri 2026-01-09 00:00 UTC, Fri 2026-01-23 00:00 UTC"},
		{"0 0 29 2 *", "UTC", "2026-01-01 00:00:00", "Tue 2028-02-29 00:00 UTC, Sun 2032-02-29 00:00 UTC"},
		{"0 0 29 2 *", "UTC", "2096-03-01 00:00:00", "Fri 2104-02-29 00:00 UTC"},
		{"0 0 29 2 */6", "UTC", "2072-03-01 00:00:00", "Sat 2076-02-29 00:00 UTC, Sun 2088-02-29 00:00 UTC"},
		{"0 0 31 * *", "UTC", "2026-01-31 00:00:00", "Tue 2026-03-31 00:00 UTC, Sun 2026-05-31 00:00 UTC"},
		{"@hourly", "UTC", "2026-01-01 23:00:00", "Fri 2026-01-02 00:00 UTC"},
		{"@daily", "Europe/Berlin", "2026-01-01 23:00:00", "Fri 2026-01-02 00:00 CET"},
		{"@weekly", "UTC", "2026-01-01 00:00:00", "Sun 2026-01-04 00:00 UTC"},
		{"@Monthly", "UTC", "2026-01-01 00:00:00", "Sun 2026-02-01 00:00 UTC"},
		{"@yearly", "UTC", "2026-01-01 00:00:00", "Fri 2027-01-01 00:00 UTC"},

		// Berlin skips 02:00 to 03:00 on 29 March 2026.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28 02:30:00", "Sun 2026-03-29 03:00 CEST, Mon 2026-03-30 02:30 CEST"},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-28 02:40:00", "Sun 2026-03-29 03:00 CEST, Mon 2026-03-30 02:00 CEST"},
		{"0 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00:00", "Sun 2026-03-29 03:00 CEST, Mon 2026-03-30 02:00 CEST"},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29 01:00:00", "Sun 2026-03-29 01:30 CET, Sun 2026-03-29 03:00 CEST, Sun 2026-03-29 03:30 CEST"},
		{"0 4 * * *", "Europe/Berlin", "2026-03-28 04:00:00", "Sun 2026-03-29 04:00 CEST"},
		{"30 2 29 3 *", "Europe/Berlin", "2025-12-31 00:00:00", "Sun 2026-03-29 03:00 CEST, Mon 2027-03-29 02:30 CEST"},
		// Berlin has 02:00 to 03:00 twice on 25 October 2026.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24 02:30:00", "Sun 2026-10-25 02:30 CEST, Mon 2026-10-26 02:30 CET"},
		{"0 */2 * * *", "Europe/Berlin", "2026-10-25 00:00:00", "Sun 2026-10-25 02:00 CEST, Sun 2026-10-25 04:00 CET"},
		{"*/30 * * * *", "Europe/Berlin", "2026-10-25 01:30:00", "Sun 2026-10-25 02:00 CEST, Sun 2026-10-25 02:30 CEST, Sun 2026-10-25 02:00 CET, Sun 2026-10-25 02:30 CET, Sun 2026-10-25 03:00 CET"},
		{"15 0-23 * * *", "Europe/Berlin", "2026-10-25 01:59:00", "Sun 2026-10-25 02:15 CEST, Sun 2026-10-25 02:15 CET, Sun 2026-10-25 03:15 CET"},
		// New York skips 02:00 to 03:00 on 8 March 2026 and has 01:00 to 02:00 twice on 1 November.
		{"15 2 * * *", "America/New_York", "2026-03-07 02:15:00", "Sun 2026-03-08 03:00 EDT, Mon 2026-03-09 02:15 EDT"},
		{"@hourly", "America/New_York", "2026-03-08 00:00:00", "Sun 2026-03-08 01:00 EST, Sun 2026-03-08 03:00 EDT"},
		{"30 1 * * *", "America/New_York", "2026-10-31 01:30:00", "Sun 2026-11-01 01:30 EDT, Mon 2026-11-02 01:30 EST"},
		{"@hourly", "America/New_York", "2026-11-01 00:00:00", "Sun 2026-11-01 01:00 EDT, Sun 2026-11-01 01:00 EST, Sun 2026-11-01 02:00 EST"},
		// Lord Howe moves its clock by half an hour, Samoa skipped a whole day, Havana skips midnight,
		// and Azores go from 01:00 back to midnight.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03 02:15:00", "Sun 2026-10-04 02:30 +11, Mon 2026-10-05 02:15 +11"},
		{"*/15 * * * *", "Australia/Lord_Howe", "2026-04-05 01:15:00", "Sun 2026-04-05 01:30 +11, Sun 2026-04-05 01:45 +11, Sun 2026-04-05 01:30 +1030, Sun 2026-04-05 01:45 +1030, Sun 2026-04-05 02:00 +1030"},
		{"0 12 * * *", "Pacific/Apia", "2011-12-29 12:00:00", "Sat 2011-12-31 00:00 +14, Sat 2011-12-31 12:00 +14"},
		{"@daily", "America/Havana", "2026-03-07 00:00:00", "Sun 2026-03-08 01:00 CDT, Mon 2026-03-09 00:00 CDT"},
		{"@daily", "Atlantic/Azores", "2026-10-24 00:00:00", "Sun 2026-10-25 00:00 +00, Mon 2026-10-26 00:00 -01"},
	} {
		got := strings.Join(fires(t, c.expr, zone(t, c.zone), c.after, strings.Count(c.want, ",")+1), ", ")
		if got != c.want {
			t.Errorf("%s in %s after %s:\n got %s\nwant %s", c.expr, c.zone, c.after, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{"", "it has 0 fields; write five"},
		{"* * * *", "it has 4 fields; write five"},
		{"0 * * * * *", "seconds and years are not supported"},
		{"0 0 0 1 1 ? 2026", "seconds and years are not supported"},
		{"@every 5m", "@every is not supported"},
		{"@reboot", "@reboot is not supported"},
		{"@noon", "@noon is unknown"},
		{"60 * * * *", "minute: 60 is not between 0 and 59"},
		{"-1 * * * *", `minute: "" is not a number`},
		{"+1 * * * *", "minute: +1 is not between"},
		{"* 24 * * *", "hour: 24 is not between 0 and 23"},
		{"* * 0 * *", "day of the month: 0 is not between 1 and 31"},
		{"* * * 13 *", "month: 13 is not between 1 and 12"},
		{"* * * * 8", "day of the week: 8 is not between 0 and 7"},
		{"* * L * *", "L, W, # and ? have no meaning"},
		{"* * 15w * *", "L, W, # and ? have no meaning"},
		{"* * ? * *", "L, W, # and ? have no meaning"},
		{"* * * * 5#2", "L, W, # and ? have no meaning"},
		{"* * * foo *", `month: "foo" is neither a number nor one of jan, feb`},
		{"x * * * *", `minute: "x" is not a number`},
		{"5-1 * * * *", `range "5-1" ends before it begins`},
		{"* * * * fri-mon", `range "fri-mon" ends before it begins`},
		{"*/0 * * * *", `step "0" must be a number from 1`},
		{"*/x * * * *", `step "x" must be a number from 1`},
		{"*/90 * * * *", "step 90 is larger than its range"},
		{"5/10 * * * *", `"5/10" has a step without a range; write 5-59/10`},
		{"1,,2 * * * *", `"" has an empty part`},
		{"0 0 30 2 *", `it never fires: no month of field "2" has a day of field "30"`},
		{"0 0 31 feb,apr,jun,sep,nov *", "it never fires"},
		{"0 0 30 2 */2", "it never fires"},
		{strings.Repeat("1,", 300) + "1 * * * *", "512 is the limit"},
	} {
		_, err := Parse(c.expr, time.UTC)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want an error with %q", c.expr, err, c.want)
		}
	}
}

// TestAgainstEveryMinute compares random expressions with a search that looks at each minute.
func TestAgainstEveryMinute(t *testing.T) {
	zones := []*time.Location{zone(t, "Europe/Berlin"), zone(t, "America/New_York"), time.UTC, zone(t, "Australia/Lord_Howe"), zone(t, "Asia/Kathmandu"), zone(t, "America/Havana")}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			pick := func(all ...string) string { return all[r.IntN(len(all))] }
			expr := strings.Join([]string{pick("*", "*/7", "0", "30", "15,45", "10-20/5"), pick("*", "*/3", "0", "1", "2", "1-3", "23"),
				pick("*", "*", "29-31", "1", "25"), pick("*", "*", "3", "10,11", "2-4"), pick("*", "*", "0", "1-5", "sun")}, " ")
			loc := zones[r.IntN(len(zones))]
			e, err := Parse(expr, loc)
			if err != nil {
				t.Skip(err)
			}
			changes := []string{"2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31", "2026-04-04", "2026-10-03", "2028-02-27", "2026-12-30"}
			from, _ := time.ParseInLocation(time.DateOnly, changes[r.IntN(len(changes))], loc)
			from = from.Add(time.Duration(r.IntN(24*3600)) * time.Second)
			got := e.Next(from)
			if want := search(&e, from); !got.Equal(want) {
				t.Errorf("%s after %s: %s, want %s", expr, from, got, want)
			}
		})
	}
}

// search looks at each minute after a time. It decides from the minute before what the clock does.
func search(e *Expression, from time.Time) time.Time {
	matches := func(w time.Time) bool {
		return e.minutes&(1<<w.Minute()) != 0 && e.hours&(1<<w.Hour()) != 0 && e.matchesDate(time.Date(w.Year(), w.Month(), w.Day(), 0, 0, 0, 0, time.UTC))
	}
	wall := func(at time.Time) time.Time { // the clock on the wall, as if it were in UTC
		_, offset := at.Zone()
		return at.UTC().Add(time.Duration(offset) * time.Second)
	}
	for at := from.Truncate(time.Minute).Add(time.Minute); ; at = at.Add(time.Minute) {
		w := wall(at)
		for skipped := wall(at.Add(-time.Minute)).Add(time.Minute); skipped.Before(w); skipped = skipped.Add(time.Minute) {
			if matches(skipped) {
				return at
			}
		}
		if !matches(w) {
			continue
		}
		again := false
		for back := time.Minute; back <= 3*time.Hour; back += time.Minute {
			again = again || wall(at.Add(-back)).Equal(w)
		}
		if !again || e.everyHour() {
			return at
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1-3 * jan mon")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text, time.UTC)
		if err != nil {
			return
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := e.Next(from); !next.After(from) {
			t.Errorf("%q fires at %s, after %s", text, next, from)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	e, err := Parse("30 2 * * mon", zone(b, "Europe/Berlin"))
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		at = e.Next(at)
	}
}
