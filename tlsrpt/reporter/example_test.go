package reporter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func ExampleAggregator() {
	var store reporter.MemoryStore
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: &store})
	if err != nil {
		log.Fatal(err)
	}
	// go recorder.Run(ctx) would pass the sums to the store twice a second.

	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	policy := tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}
	for range 3 {
		recorder.Record(&tlsrpt.Session{
			Domain: "example.com", Time: noon, MXHost: "mx.example.com",
			Outcomes: []tlsrpt.Outcome{{Policy: policy}},
		})
	}
	if err := recorder.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}

	part, err := store.Sums(context.Background(), report.DayOf(noon), "example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(part.Sums[0].Policy.Type, part.Sums[0].Summary.Successes)
	// Output: no-policy-found 3
}

func ExampleReporter() {
	store := new(reporter.MemoryStore)
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	r, err := reporter.New(reporter.Config{
		Store:        store,
		Organization: "Example Inc.",
		Contact:      "tls-reports@example.net",
		Signer: reporter.SignerFunc(func(_ context.Context, message []byte, fields []string) ([]byte, error) {
			return nil, errors.New("here a DKIM library signs the message")
		}),
		Mailer: reporter.MailerFunc(func(_ context.Context, from string, to []string, message []byte) error {
			return errors.New("here the message goes to the mail queue")
		}),
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { recorder.Run(ctx) })
	running.Go(func() { r.Run(ctx) })
	// The program sends mail, and passes each session to recorder.
	cancel()
	running.Wait()
}

func ExampleReporter_Preview() {
	store := new(reporter.MemoryStore)
	r, err := reporter.New(reporter.Config{
		Store: store, Organization: "Example Inc.", Contact: "tls-reports@example.net",
		Instance: "mta1", // so that the ID of the report is not random
	})
	if err != nil {
		log.Fatal(err)
	}
	day := report.DayOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		recorder.Record(&tlsrpt.Session{
			Domain: "example.com", Time: day.Start(), MXHost: "mx.example.com",
			Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}}},
		})
	}
	if err := recorder.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}

	rep, err := r.Preview(context.Background(), "example.com", day)
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", text)
	// Output:
	// {
	//   "organization-name": "Example Inc.",
	//   "date-range": {
	//     "start-datetime": "2026-03-01T00:00:00Z",
	//     "end-datetime": "2026-03-01T23:59:59Z"
	//   },
	//   "contact-info": "tls-reports@example.net",
	//   "report-id": "20260301.example.com.mta1@example.net",
	//   "policies": [
	//     {
	//       "policy": {
	//         "policy-type": "no-policy-found",
	//         "policy-domain": "example.com"
	//       },
	//       "summary": {
	//         "total-successful-session-count": 3,
	//         "total-failure-session-count": 0
	//       }
	//     }
	//   ]
	// }
}
