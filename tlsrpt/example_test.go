package tlsrpt_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

func ExampleClassify() {
	// As a TLS handshake with a mail host returns it.
	err := fmt.Errorf("mx.example.com: %w", x509.UnknownAuthorityError{})

	failure := tlsrpt.Classify(err)
	fmt.Println(failure.Type, failure.ReasonCode)
	// Output: certificate-not-trusted unknown-authority
}

func ExampleRecorder() {
	var recorder tlsrpt.Recorder = tlsrpt.RecorderFunc(func(s *tlsrpt.Session) {
		for _, outcome := range s.Outcomes {
			fmt.Println(s.Domain, outcome.Policy.Type, outcome.Failures)
		}
	})
	recorder.Record(&tlsrpt.Session{
		Domain: "example.com",
		MXHost: "mx.example.com",
		Outcomes: []tlsrpt.Outcome{{
			Policy: tlsrpt.Policy{
				Type:    tlsrpt.STS,
				Domain:  "example.com",
				Strings: []string{"version: STSv1", "mode: testing", "mx: mx.example.com", "max_age: 604800"},
				MXHosts: []string{"mx.example.com"},
			},
			Failures: []tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported}},
		}},
	})
	// Output: example.com sts [{starttls-not-supported }]
}

func ExampleParseReport() {
	// As it was posted, or came by mail, compressed or not.
	received := strings.NewReader(`{
		"organization-name": "Sender",
		"date-range": {"start-datetime": "2026-03-01T00:00:00Z", "end-datetime": "2026-03-01T23:59:59Z"},
		"contact-info": "tls@sender.example",
		"report-id": "1",
		"policies": [{
			"policy": {"policy-type": "tlsa", "policy-domain": "mx.example.com", "policy-string": ["3 1 1 1f850a"]},
			"summary": {"total-successful-session-count": 98, "total-failure-session-count": 2},
			"failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2}]
		}]
	}`)

	report, err := tlsrpt.ParseReport(received)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range report.Policies {
		fmt.Println(p.Policy.Domain, p.Summary.Successes, p.Summary.Failures)
		for _, d := range p.Details {
			fmt.Println(d.Sessions, d.Type)
		}
	}
	// Output:
	// mx.example.com 98 2
	// 2 certificate-expired
}

func ExampleAggregator() {
	var store tlsrpt.MemoryStore
	recorder := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: &store})
	// go recorder.Run(ctx) would hand the sums on twice a second.

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

	part, err := store.Sums(context.Background(), tlsrpt.DayOf(noon), "example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(part.Sums[0].Policy.Type, part.Sums[0].Summary.Successes)
	// Output: no-policy-found 3
}

func ExampleReporter() {
	store := new(tlsrpt.MemoryStore)
	recorder := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: store})
	reporter, err := tlsrpt.NewReporter(tlsrpt.ReporterConfig{
		Store:        store,
		Organization: "Example Inc.",
		Contact:      "tls-reports@example.net",
		Signer: tlsrpt.SignerFunc(func(_ context.Context, message []byte, fields []string) ([]byte, error) {
			return nil, errors.New("here a DKIM library signs the message")
		}),
		Mailer: tlsrpt.MailerFunc(func(_ context.Context, from string, to []string, message []byte) error {
			return errors.New("here the message goes to the mail queue")
		}),
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { recorder.Run(ctx) })
	running.Go(func() { reporter.Run(ctx) })
	// The program sends mail, and recorder is told of each session.
	cancel()
	running.Wait()
}

func ExampleReporter_Preview() {
	store := new(tlsrpt.MemoryStore)
	reporter, err := tlsrpt.NewReporter(tlsrpt.ReporterConfig{
		Store: store, Organization: "Example Inc.", Contact: "tls-reports@example.net",
	})
	if err != nil {
		log.Fatal(err)
	}
	day := tlsrpt.DayOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	recorder := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: store})
	for range 3 {
		recorder.Record(&tlsrpt.Session{
			Domain: "example.com", Time: day.Start(), MXHost: "mx.example.com",
			Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}}},
		})
	}
	if err := recorder.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}

	report, err := reporter.Preview(context.Background(), "example.com", day)
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.MarshalIndent(report, "", "  ")
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
	//   "report-id": "20260301.example.com@example.net",
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
