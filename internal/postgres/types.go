package postgres

// Types of PostgreSQL, by their OID.
const (
	OIDBool, OIDBytea, OIDName, OIDInt8, OIDInt2, OIDInt4, OIDText, OIDOid   = 16, 17, 19, 20, 21, 23, 25, 26
	OIDJSON, OIDXML, OIDFloat4, OIDFloat8, OIDUnknown, OIDBpchar, OIDVarchar = 114, 142, 700, 701, 705, 1042, 1043
	OIDDate, OIDTime, OIDTimestamp, OIDTimestamptz, OIDInterval, OIDNumeric  = 1082, 1083, 1114, 1184, 1186, 1700
	OIDUUID, OIDJSONB                                                        = 2950, 3802
)

// Epoch is the time zero of PostgreSQL, in seconds of Unix time.
const Epoch = 946684800

// IsText reports whether the binary form of a value is its text.
func (t *Type) IsText() bool {
	switch t.OID {
	case OIDName, OIDText, OIDXML, OIDUnknown, OIDBpchar, OIDVarchar:
		return true
	}
	return t.Kind == 'e'
}

// IsInteger reports whether values are whole numbers of at most 64 bits.
func (t *Type) IsInteger() bool {
	return t.OID == OIDInt2 || t.OID == OIDInt4 || t.OID == OIDInt8 || t.OID == OIDOid
}

// AppendUUID appends the text of a UUID of 16 bytes.
func AppendUUID(dst, b []byte) []byte {
	const digits = "0123456789abcdef"
	for i, x := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[x>>4], digits[x&15])
	}
	return dst
}
