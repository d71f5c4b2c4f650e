package api

import (
	"strings"

	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/inventory/filter"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

func accountFields() []filter.Field {
	return []filter.Field{
		{Name: "id", Type: filter.Text},
		{Name: "state", Type: filter.Text, Values: []string{"VALID", "DEACTIVATED", "REVOKED"}},
		{Name: "owner", Type: filter.Text},
		{Name: "contact", Type: filter.Texts},
		{Name: "eab_key_id", Type: filter.Text},
		{Name: "eab_name", Type: filter.Text},
		{Name: "create_time", Type: filter.Time},
	}
}

func accountMessage(a enrol.Account) *certwrightv1.Account {
	return &certwrightv1.Account{
		Id: a.ID, State: certwrightv1.Account_State(certwrightv1.Account_State_value[strings.ToUpper(a.Status)]),
		Contacts: a.Contacts, Owner: a.Owner, EabKeyId: a.EAB, EabName: a.EABName, KeyThumbprint: a.Thumbprint,
		TermsAgreed: a.Terms, CreateTime: timestamp(a.Created),
	}
}

func accountRow(m *certwrightv1.Account) filter.Row {
	return func(field string) any {
		switch field {
		case "id":
			return m.GetId()
		case "state":
			return m.GetState().String()
		case "owner":
			return m.GetOwner()
		case "contact":
			return m.GetContacts()
		case "eab_key_id":
			return m.GetEabKeyId()
		case "eab_name":
			return m.GetEabName()
		case "create_time":
			return m.GetCreateTime().AsTime()
		}
		return nil
	}
}

func orderFields() []filter.Field {
	return []filter.Field{
		{Name: "id", Type: filter.Text},
		{Name: "account", Type: filter.Text},
		{Name: "state", Type: filter.Text, Values: []string{"PENDING", "READY", "PROCESSING", "VALID", "INVALID"}},
		{Name: "profile", Type: filter.Text},
		{Name: "name", Type: filter.Texts},
		{Name: "error", Type: filter.Text},
		{Name: "create_time", Type: filter.Time},
		{Name: "expire_time", Type: filter.Time},
	}
}

func orderRow(m *certwrightv1.Order) filter.Row {
	return func(field string) any {
		switch field {
		case "id":
			return m.GetId()
		case "account":
			return m.GetAccount()
		case "state":
			return m.GetState().String()
		case "profile":
			return m.GetProfile()
		case "name":
			names := make([]string, len(m.GetIdentifiers()))
			for i, id := range m.GetIdentifiers() {
				_, names[i], _ = strings.Cut(id, ":")
			}
			return names
		case "error":
			return m.GetError().GetType()
		case "create_time":
			return m.GetCreateTime().AsTime()
		case "expire_time":
			return m.GetExpireTime().AsTime()
		}
		return nil
	}
}

func orderMessage(o enrol.Order) *certwrightv1.Order {
	m := &certwrightv1.Order{
		Id: o.ID, Account: o.Account, State: certwrightv1.Order_State(certwrightv1.Order_State_value[strings.ToUpper(o.Status)]),
		Profile: o.Profile, Replaces: o.Replaces, CreateTime: timestamp(o.Created), ExpireTime: timestamp(o.Expires),
		Error: failureMessage(o.Failure),
	}
	for _, id := range o.Identifiers {
		m.Identifiers = append(m.Identifiers, id.String())
	}
	for _, z := range o.Authorizations {
		m.Authorizations = append(m.Authorizations, authorizationMessage(z))
	}
	return m
}

func authorizationMessage(z enrol.Authorization) *certwrightv1.OrderAuthorization {
	m := &certwrightv1.OrderAuthorization{
		Id: z.ID, Identifier: z.Identifier.String(), Wildcard: z.Wildcard, State: z.Status, ExpireTime: timestamp(z.Expires), Grant: z.Grant,
	}
	for _, c := range z.Challenges {
		challenge := &certwrightv1.OrderChallenge{
			Type: c.Type, State: c.Status, ValidateTime: timestamp(c.Validated), Attempts: int32(c.Attempts), Record: c.Record,
			Error: failureMessage(c.Failure),
		}
		for _, hop := range c.Hops {
			tried := &certwrightv1.OrderHop{Host: hop.Host, Port: int32(hop.Port)}
			for _, address := range hop.Addresses {
				tried.Addresses = append(tried.Addresses, address.String())
			}
			challenge.Hops = append(challenge.Hops, tried)
		}
		m.Challenges = append(m.Challenges, challenge)
	}
	return m
}

func failureMessage(f *enrol.Failure) *certwrightv1.OrderError {
	if f == nil {
		return nil
	}
	m := &certwrightv1.OrderError{Type: f.Type, Detail: f.Detail}
	if f.Identifier != nil {
		m.Identifier = f.Identifier.String()
	}
	for _, part := range f.Parts {
		m.Subproblems = append(m.Subproblems, failureMessage(&part))
	}
	return m
}
