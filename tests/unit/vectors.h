/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Messages as Google sends them, byte for byte, and the keys that made their
   signatures.  All values are made up; all signatures verify.

   VEC_xx_BODY is what answers request xx: A the metadata server, B the IAM
   Credentials API, C the token endpoint. */

/* 2026-01-01T00:00:00Z, when all of this happens. */
#define VEC_NOW INT64_C(1767225600)
#define VEC_ASSERTION_IAT (VEC_NOW - 10)
#define VEC_ASSERTION_EXP (VEC_NOW + 3590)

#define VEC_EMAIL "app-sa@example-proj-123.iam.gserviceaccount.com"
#define VEC_AUDIENCE \
	"123456789012-abcdefghijklmnopqrstuvwxyz012345.apps.googleuserconte" \
	"nt.com"
#define VEC_ACCESS_TOKEN "ya29.c.EXAMPLE-mds-access-token_0123456789"

/* --- public keys: Google's own, and the service account's */
#define VEC_GOOGLE_KEY_KID "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
#define VEC_GOOGLE_KEY_E "AQAB"
#define VEC_GOOGLE_KEY_N \
	"uifk9oX3Zcj5sJ5ofV6T-K_2kceiUkf1Gbr8IRtLWl1q7ZlFgjsSM55dfHkPqfcisK" \
	"DSRWV993ZBy8iFQG3GkOxrUKQ-Lk-xElxUf1kRHxeiPtwilZOeLEWVBTnbHPKNHmRK" \
	"iSzm9AjlO9P1UH0QlHyRB5nXDCcIMOezU-LHO2xnS0ZpCqnVQbrUfPRT8K6hD1RD54" \
	"xfwqufPvm62KXP6HRGKAoocpFE4Lnw6R8vz5xgCXj_FTAPpy7d72IioGTkr7y9T8xl" \
	"irVpVuItFJ734I_m9lQgBw_KuzJuTEpOVw6KwVxTchiNMmrAHP4FymruC3Gy-cAP4b" \
	"3ikwRpnEQ8JQ"
#define VEC_SA_KEY_KID "4f0e9a7b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f"
#define VEC_SA_KEY_E "AQAB"
#define VEC_SA_KEY_N \
	"tFHAKmPxS_OgANIi6Dbg2dOF82qgXMv1Rq0gVxje2tpAkGjGV9w_0KZDClcr_L7rEl" \
	"22IHKKq7XjP8442BNLbHrn7kc3zARxoJIlZzoR5U8SpndK6G9nSgN_y38UZ07xMH4v" \
	"u61xp7WQ3nK07LbfEv6xCpJcvjefCNh89fTcC6NpjggdgRschWYe_TsPJFXitdre46" \
	"ihMUaVdYJNYePBSAfseRy52XpKCymYBsyHkTWdOoAbF77UCA4eWKCxE1B1_h7lXvHx" \
	"w-hkRBvcsH2BuJTf6cah_ldBAnec2YJUfJIGc1eoFVIRc97Lf6VA101IjwCVvkmWuu" \
	"M_yHRhWpf48Q"

/* --- the assertion: claims, what is signed, and the whole */
#define VEC_ASSERTION_HEADER "{\"alg\":\"RS256\",\"typ\":\"JWT\"}"
#define VEC_ASSERTION_CLAIMS \
	"{\"iss\":\"" \
	VEC_EMAIL \
	"\",\"aud\":\"https://oauth2.googleapis.com/token\",\"iat\":176722559" \
	"0,\"exp\":1767229190,\"target_audience\":\"" \
	VEC_AUDIENCE \
	"\"}"
#define VEC_ASSERTION_INPUT \
	"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhcHAtc2FAZXhhbXBsZ" \
	"S1wcm9qLTEyMy5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsImF1ZCI6Imh0dHBzOi8" \
	"vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwiaWF0IjoxNzY3MjI1NTkwLCJle" \
	"HAiOjE3NjcyMjkxOTAsInRhcmdldF9hdWRpZW5jZSI6IjEyMzQ1Njc4OTAxMi1hYmN" \
	"kZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NS5hcHBzLmdvb2dsZXVzZXJjb250Z" \
	"W50LmNvbSJ9"
#define VEC_ASSERTION_SIGNATURE \
	"BA2mMERzDsc5OyoP5A1KO1QXTFrzH2nIcCVeQwEi9AV7ycLfqpFHnkq8qZSFTPoHT5" \
	"KpEi1LhpZMkZ8uE4kwEkJuAo34L2YltcrmbMe1_5XO8DnoRWgaqZcxcrWpyZNH2to7" \
	"Nl8ZCaFDcTpI75p5iBoCR3REGBH9oz4Hhx5eSz0GycL_LMyElPJFOfD2An6l69S0ZB" \
	"13V4hQYAg15fVexlLEForchzDeRaI7UCm5Jx6pF4b3YmpKFWzfWum4Ff2Xd0AakFC8" \
	"43LXmWGTXHJV-SUymaHudnO47iAKZBcIOQeKwjTc13-QuLcp5Ohr_7teT1i1tc8P6f" \
	"hVGMIRWwO3lA"
#define VEC_ASSERTION \
	VEC_ASSERTION_INPUT \
	"." \
	VEC_ASSERTION_SIGNATURE

/* --- signBlob: base64 of VEC_ASSERTION_INPUT, base64 of its signature */
#define VEC_SIGN_PAYLOAD \
	"ZXlKaGJHY2lPaUpTVXpJMU5pSXNJblI1Y0NJNklrcFhWQ0o5LmV5SnBjM01pT2lKaG" \
	"NIQXRjMkZBWlhoaGJYQnNaUzF3Y205cUxURXlNeTVwWVcwdVozTmxjblpwWTJWaFky" \
	"TnZkVzUwTG1OdmJTSXNJbUYxWkNJNkltaDBkSEJ6T2k4dmIyRjFkR2d5TG1kdmIyZH" \
	"NaV0Z3YVhNdVkyOXRMM1J2YTJWdUlpd2lhV0YwSWpveE56WTNNakkxTlRrd0xDSmxl" \
	"SEFpT2pFM05qY3lNamt4T1RBc0luUmhjbWRsZEY5aGRXUnBaVzVqWlNJNklqRXlNel" \
	"ExTmpjNE9UQXhNaTFoWW1Oa1pXWm5hR2xxYTJ4dGJtOXdjWEp6ZEhWMmQzaDVlakF4" \
	"TWpNME5TNWhjSEJ6TG1kdmIyZHNaWFZ6WlhKamIyNTBaVzUwTG1OdmJTSjk="
#define VEC_SIGNED_BLOB \
	"BA2mMERzDsc5OyoP5A1KO1QXTFrzH2nIcCVeQwEi9AV7ycLfqpFHnkq8qZSFTPoHT5" \
	"KpEi1LhpZMkZ8uE4kwEkJuAo34L2YltcrmbMe1/5XO8DnoRWgaqZcxcrWpyZNH2to7" \
	"Nl8ZCaFDcTpI75p5iBoCR3REGBH9oz4Hhx5eSz0GycL/LMyElPJFOfD2An6l69S0ZB" \
	"13V4hQYAg15fVexlLEForchzDeRaI7UCm5Jx6pF4b3YmpKFWzfWum4Ff2Xd0AakFC8" \
	"43LXmWGTXHJV+SUymaHudnO47iAKZBcIOQeKwjTc13+QuLcp5Ohr/7teT1i1tc8P6f" \
	"hVGMIRWwO3lA=="

/* --- ID tokens: from the token endpoint, and from the metadata server (full) */
#define VEC_ID_TOKEN_C1 \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6ImExYjJjM2Q0ZTVmNjA3MTgyOTNhNGI1YzZkN2" \
	"U4ZjkwMDExMjIzMzQiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiIxMjM0NTY3ODkwMTItY" \
	"WJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDUuYXBwcy5nb29nbGV1c2VyY29" \
	"udGVudC5jb20iLCJhenAiOiJhcHAtc2FAZXhhbXBsZS1wcm9qLTEyMy5pYW0uZ3Nlc" \
	"nZpY2VhY2NvdW50LmNvbSIsImVtYWlsIjoiYXBwLXNhQGV4YW1wbGUtcHJvai0xMjM" \
	"uaWFtLmdzZXJ2aWNlYWNjb3VudC5jb20iLCJlbWFpbF92ZXJpZmllZCI6dHJ1ZSwiZ" \
	"XhwIjoxNzY3MjI5MjAwLCJpYXQiOjE3NjcyMjU2MDAsImlzcyI6Imh0dHBzOi8vYWN" \
	"jb3VudHMuZ29vZ2xlLmNvbSIsInN1YiI6IjExMzQ1Njc4OTAxMjM0NTY3ODkwMSJ9." \
	"s2ZsBnP92eTOkV6gb5j0ETWkQnZnks8XksD5PeDKKWCn27gwp-doSMjoTKY8WXUKZz" \
	"wDbcQ5qqnvJ8bu40FHCAK2-rVVdLWO7e7PHLQIma-F6EhDgpdDlQ4bnomGFY9z7v82" \
	"tfDtsRunnDpObQnIYJkAZAsnEmafAGO6XxS8QzLvBtNucCk2JvZ3d2dETv7NEkg2xC" \
	"NppJseg8g8ckXCcKqEeJCbbxI9zD4laEbPicpAbUzmyLwyqmnH46xf2IPjPKhY_zp1" \
	"ou74wE5Q1C2icSYVLgsurSXFD7_uaQ_aNd5B_-onod8UQziYwKinNzqiVN8fhFr2mT" \
	"r8ulliBkQRHA"
#define VEC_ID_TOKEN_A5 \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6ImExYjJjM2Q0ZTVmNjA3MTgyOTNhNGI1YzZkN2" \
	"U4ZjkwMDExMjIzMzQiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiIxMjM0NTY3ODkwMTItY" \
	"WJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDUuYXBwcy5nb29nbGV1c2VyY29" \
	"udGVudC5jb20iLCJhenAiOiIxMTM0NTY3ODkwMTIzNDU2Nzg5MDEiLCJlbWFpbCI6I" \
	"mFwcC1zYUBleGFtcGxlLXByb2otMTIzLmlhbS5nc2VydmljZWFjY291bnQuY29tIiw" \
	"iZW1haWxfdmVyaWZpZWQiOnRydWUsImV4cCI6MTc2NzIyOTIwMCwiZ29vZ2xlIjp7I" \
	"mNvbXB1dGVfZW5naW5lIjp7Imluc3RhbmNlX2NyZWF0aW9uX3RpbWVzdGFtcCI6MTc" \
	"2NzEzOTIwMCwiaW5zdGFuY2VfaWQiOiI1Nzc1MTcxMjc3NDE4Mzc4MDAwIiwiaW5zd" \
	"GFuY2VfbmFtZSI6InZtLTEiLCJwcm9qZWN0X2lkIjoiZXhhbXBsZS1wcm9qLTEyMyI" \
	"sInByb2plY3RfbnVtYmVyIjoxMjM0NTY3ODkwMTIsInpvbmUiOiJ1cy1jZW50cmFsM" \
	"S1hIn19LCJpYXQiOjE3NjcyMjU2MDAsImlzcyI6Imh0dHBzOi8vYWNjb3VudHMuZ29" \
	"vZ2xlLmNvbSIsInN1YiI6IjExMzQ1Njc4OTAxMjM0NTY3ODkwMSJ9.T_HvHNl6aR6n" \
	"Bq1wmEa0tWxHZE2MtGNeM8AZkk0a4tewmCsa3Ip-7lWVuOssVXofpGYewhMIQ8VRrU" \
	"U6Y5knGr1Vb9EKHkUXjgJf0DWK8cp4gpJ8x9g0fgHR6Xo4R8_dBTKLeMNnBiqOttEU" \
	"RACKP3daoEWBWAiwDRUqAJGC01tuqSp9qJ6YuG66ODJsNg0KB_ejMZH6eyCQHzChKY" \
	"_fZKB2N06tGwg8HprsCUsusJgxBmvMn9HQII8ShFmgeZO2jPDz8hJ33rK9_99Hfnq_" \
	"jWTHCqfPazfy_AZTEOWZg-hFbUL6wWCTL81iGtPeiGkgfmClwrxjSSyClCIkR-aMMg"

/* --- A: the metadata server */
#define VEC_A1_BODY "computeMetadata/\n"
#define VEC_A2_BODY \
	"{\"aliases\":[\"default\"],\"email\":\"" \
	VEC_EMAIL \
	"\",\"scopes\":[\"https://www.googleapis.com/auth/cloud-platform\"]}"
#define VEC_A3_BODY VEC_EMAIL
#define VEC_A4_BODY \
	"{\"access_token\":\"" \
	VEC_ACCESS_TOKEN \
	"\",\"expires_in\":3421,\"token_type\":\"Bearer\"}"
#define VEC_A6_BODY "example-proj-123"
#define VEC_A7_BODY "googleapis.com"
#define VEC_A9_BODY \
	"<!DOCTYPE html>\n<html lang=en>\n  <title>Error 403 (Forbidden)!!1</" \
	"title>\n  <p><b>403.</b> <ins>That's an error.</ins>\n  <p>Your clie" \
	"nt does not have permission to get URL <code>/computeMetadata/v1/i" \
	"nstance/id</code> from this server. Missing Metadata-Flavor:Google" \
	" header. <ins>That's all we know.</ins>\n"
#define VEC_A11_BODY "non-empty audience parameter required\n"
#define VEC_A12_BODY \
	"{\"error\":\"invalid_request\",\"error_description\":\"Service accou" \
	"nt not enabled on this instance\"}"
#define VEC_A15_BODY \
	"<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</" \
	"title>\n  <p><b>404.</b> <ins>That's an error.</ins>\n  <p>The reque" \
	"sted URL <code>/computeMetadata/v1/universe/universe-domain</code>" \
	" was not found on this server. <ins>That's all we know.</ins>\n"

/* claims that Identity-Aware Proxy takes, signed by the account itself */
#define VEC_B6_CLAIMS \
	"{\"iss\":\"app-sa@example-proj-123.iam.gserviceaccount.com\",\"s" \
	"ub\":\"app-sa@example-proj-123.iam.gserviceaccount.com\",\"aud\"" \
	":\"https://app.example.com/*\",\"iat\":1767225600,\"exp\":176722" \
	"9200}"

#define VEC_B6_REQUEST \
	"{\"payload\":\"{\\\"iss\\\":\\\"app-sa@example-proj-123.iam.gser" \
	"viceaccount.com\\\",\\\"sub\\\":\\\"app-sa@example-proj-123.iam." \
	"gserviceaccount.com\\\",\\\"aud\\\":\\\"https://app.example.com/" \
	"*\\\",\\\"iat\\\":1767225600,\\\"exp\\\":1767229200}\"}"

#define VEC_B6_JWT \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6IjRmMGU5YTdiMWMyZDNlNGY1YTZiN2M4ZDll" \
	"MGYxYTJiM2M0ZDVlNmYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJhcHAtc2FAZXhhb" \
	"XBsZS1wcm9qLTEyMy5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsInN1YiI6ImFwc" \
	"C1zYUBleGFtcGxlLXByb2otMTIzLmlhbS5nc2VydmljZWFjY291bnQuY29tIiwiY" \
	"XVkIjoiaHR0cHM6Ly9hcHAuZXhhbXBsZS5jb20vKiIsImlhdCI6MTc2NzIyNTYwM" \
	"CwiZXhwIjoxNzY3MjI5MjAwfQ.p4hIR8MhFNlWQsy8pNjZBAhMXktz8k9yKJE3tP" \
	"lWxzL4RIz_0_P5QGjJyeOujs-9S3K1anHMHKlLG38rva52U_t3Ee3BrrtQOl8OLH" \
	"G9ipQvZmWeO2T0155eLV85z972n4aBKxtQF25mfOgrbTAuAilKYwzZ-kdEZ4Vl8R" \
	"OVNUvhrRj8QB6cGbs7EI1hy0EUaMiKebEltG_WjF-x_FQe7WGsUlBWdI7sSprji6" \
	"8mnpQa8CzypHKzEOC-bO2XPQquxgAkX2ysjdML4F2FLzzuZvf3XuMqRXmldwIiz_" \
	"EaeWJ3ShVfhw3PzZhDdo2FLCQrDnUAGuLqP8p54N19VGBNnA"

#define VEC_B6_BODY \
	"{\"keyId\":\"" VEC_SA_KEY_KID "\",\"signedJwt\":\"" VEC_B6_JWT "\"}"

/* --- B: signBlob; the request, its answer, and what else may come */
#define VEC_B1_REQUEST \
	"{\"payload\":\"" \
	VEC_SIGN_PAYLOAD \
	"\"}"
#define VEC_B1_BODY \
	"{\"keyId\":\"" \
	VEC_SA_KEY_KID \
	"\",\"signedBlob\":\"" \
	VEC_SIGNED_BLOB \
	"\"}"
/* generateIdToken, generateAccessToken; signBlob of "hello" through a delegate */
#define VEC_ID_TOKEN_B7 \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6ImExYjJjM2Q0ZTVmNjA3MTgyOTNhNGI1YzZkN2" \
	"U4ZjkwMDExMjIzMzQiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiIxMjM0NTY3ODkwMTItY" \
	"WJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDUuYXBwcy5nb29nbGV1c2VyY29" \
	"udGVudC5jb20iLCJhenAiOiIxMTM0NTY3ODkwMTIzNDU2Nzg5MDEiLCJlbWFpbCI6I" \
	"mFwcC1zYUBleGFtcGxlLXByb2otMTIzLmlhbS5nc2VydmljZWFjY291bnQuY29tIiw" \
	"iZW1haWxfdmVyaWZpZWQiOnRydWUsImV4cCI6MTc2NzIyOTIwMCwiaWF0IjoxNzY3M" \
	"jI1NjAwLCJpc3MiOiJodHRwczovL2FjY291bnRzLmdvb2dsZS5jb20iLCJzdWIiOiI" \
	"xMTM0NTY3ODkwMTIzNDU2Nzg5MDEifQ.CB2Q4fEY0h2n7Aqmpfb5hZJkD7LQNfTiIt" \
	"C-NpuaEx7t99bsTTpRcd6U9rcYHFHvdJpqAuOAFakFsvtGuSnhen8dlvK5kvk_PIHd" \
	"ft-KQUMmJnyfMZod8ss9_VoxHyj-DDBEvE_qWXqJ21PEQJfQchx4LrITWMfqFKyLZy" \
	"KS9K6ZtGrfibgErxuDt_DdUdWFHKA5N1sCZQBI5MtcRDu0yRuastM5-Ibt0BSAbfb5" \
	"Sy2bzj26MrgHMdzgzMRk4K1xRTsN9sHhC1XuAYYhP8f-FepjisKX5OCTrNWDdmicWw" \
	"u024SLUP8-AxApH2e9a2yyj0qTkn_eOhep7PDFQBnaOQ"
#define VEC_B7_REQUEST \
	"{\"audience\":\"123456789012-abcdefghijklmnopqrstuvwxyz012345.apps" \
	".googleusercontent.com\",\"includeEmail\":true}"
#define VEC_B7_BODY "{\"token\":\"" VEC_ID_TOKEN_B7 "\"}"
#define VEC_B8_REQUEST \
	"{\"scope\":[\"https://www.googleapis.com/auth/cloud-platform\"],\"" \
	"lifetime\":\"3600s\"}"
#define VEC_B8_BODY \
	"{\"accessToken\":\"ya29.c.EXAMPLE-impersonated_0123456789\",\"expi" \
	"reTime\":\"2026-01-01T01:00:00Z\"}"
#define VEC_HOP "hop-sa@example-proj-123.iam.gserviceaccount.com"
#define VEC_B9_REQUEST \
	"{\"payload\":\"aGVsbG8=\",\"delegates\":[\"projects/-/serviceAccou" \
	"nts/hop-sa@example-proj-123.iam.gserviceaccount.com\"]}"
#define VEC_B9_BODY \
	"{\"keyId\":\"4f0e9a7b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f\",\"signedBl" \
	"ob\":\"NBOExzSaHK+kCcmYTHHAl5hyONP+t98HQ/NSZoIINF0HhSFOByWx+u3xFOX" \
	"TNyCE0lXgLrab9o3u9SH9y7NbPV4f18aqy0E5vKyqOqTow0Vmpm7pgd19kzQtkYId7" \
	"u0kRcmH+93OJw8tkOtIuJz8z9h0qbBUTHjge+W2zkvw0VRZOXm/J9CGWQ5+Y9309Cn" \
	"wkj6kha59YRuLrhdvRbIVEia0+GBCigJssXKi6Y902H1luFet2yjexKWi1AWGHUe2V" \
	"et9sBt0WRmFnWE+ukJQVtHwPymT3PBBidsV6Wtrg8BJWvE/ZYNLlc6Rwwm4FrBUc9B" \
	"4kDd01A6UK0zUhjTOfQ==\"}"
/* 403, role missing */
#define VEC_B2_BODY \
	"{\"error\":{\"code\":403,\"message\":\"Permission 'iam.serviceAccoun" \
	"ts.signBlob' denied on resource (or it may not exist).\",\"status\":" \
	"\"PERMISSION_DENIED\",\"details\":[{\"@type\":\"type.googleapis.com/" \
	"google.rpc.ErrorInfo\",\"reason\":\"IAM_PERMISSION_DENIED\",\"domain" \
	"\":\"iam.googleapis.com\",\"metadata\":{\"permission\":\"iam.service" \
	"Accounts.signBlob\"}}]}}"
/* 403, scope missing */
#define VEC_B3_BODY \
	"{\"error\":{\"code\":403,\"message\":\"Request had insufficient auth" \
	"entication scopes.\",\"status\":\"PERMISSION_DENIED\",\"details\":[{" \
	"\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"" \
	"ACCESS_TOKEN_SCOPE_INSUFFICIENT\",\"domain\":\"googleapis.com\",\"me" \
	"tadata\":{\"service\":\"iamcredentials.googleapis.com\",\"method\":" \
	"\"google.iam.credentials.v1.IAMCredentials.SignBlob\"}}]}}"
/* 403, API disabled */
#define VEC_B4_BODY \
	"{\"error\":{\"code\":403,\"message\":\"IAM Service Account Credentia" \
	"ls API has not been used in project 123456789012 before or it is d" \
	"isabled. Enable it by visiting https://console.developers.google.c" \
	"om/apis/api/iamcredentials.googleapis.com/overview?project=1234567" \
	"89012 then retry. If you enabled this API recently, wait a few min" \
	"utes for the action to propagate to our systems and retry.\",\"statu" \
	"s\":\"PERMISSION_DENIED\",\"details\":[{\"@type\":\"type.googleapis." \
	"com/google.rpc.Help\",\"links\":[{\"description\":\"Google developer" \
	"s console API activation\",\"url\":\"https://console.developers.goog" \
	"le.com/apis/api/iamcredentials.googleapis.com/overview?project=123" \
	"456789012\"}]},{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo" \
	"\",\"reason\":\"SERVICE_DISABLED\",\"domain\":\"googleapis.com\",\"m" \
	"etadata\":{\"service\":\"iamcredentials.googleapis.com\",\"consumer" \
	"\":\"projects/123456789012\"}}]}}"
/* 401, access token expired */
#define VEC_B5_BODY \
	"{\"error\":{\"code\":401,\"message\":\"Request had invalid authentic" \
	"ation credentials. Expected OAuth 2 access token, login cookie or " \
	"other valid authentication credential. See https://developers.goog" \
	"le.com/identity/sign-in/web/devconsole-project.\",\"status\":\"UNAUT" \
	"HENTICATED\",\"details\":[{\"@type\":\"type.googleapis.com/google.rp" \
	"c.ErrorInfo\",\"reason\":\"ACCESS_TOKEN_EXPIRED\",\"domain\":\"googl" \
	"eapis.com\",\"metadata\":{\"service\":\"iamcredentials.googleapis.co" \
	"m\",\"method\":\"google.iam.credentials.v1.IAMCredentials.SignBlob\"" \
	"}}]}}"
/* 429, quota */
#define VEC_B10_BODY \
	"{\"error\":{\"code\":429,\"message\":\"Quota exceeded for quota metr" \
	"ic 'SIGN_METRIC' and limit 'SIGN_LIMIT per minute' of service 'iam" \
	"credentials.googleapis.com' for consumer 'project_number:123456789" \
	"012'.\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"" \
	"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"RATE_LIMIT_E" \
	"XCEEDED\",\"domain\":\"googleapis.com\",\"metadata\":{\"service\":\"" \
	"iamcredentials.googleapis.com\",\"consumer\":\"projects/123456789012" \
	"\",\"quota_metric\":\"iamcredentials.googleapis.com/SIGN_METRIC\",\"" \
	"quota_limit\":\"SIGN_LIMIT\"}}]}}"
/* 503, temporary */
#define VEC_B11_BODY \
	"{\"error\":{\"code\":503,\"message\":\"The service is currently unav" \
	"ailable.\",\"status\":\"UNAVAILABLE\"}}"
/* 400, payload is no base64 */
#define VEC_B12_BODY \
	"{\"error\":{\"code\":400,\"message\":\"Invalid value at 'payload' (T" \
	"YPE_BYTES), Base64 decoding failed for \\\"%%%\\\"\",\"status\":\"IN" \
	"VALID_ARGUMENT\",\"details\":[{\"@type\":\"type.googleapis.com/googl" \
	"e.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"payload\",\"des" \
	"cription\":\"Invalid value at 'payload' (TYPE_BYTES), Base64 decodin" \
	"g failed for \\\"%%%\\\"\"}]}]}}"

/* --- C: the token endpoint */
#define VEC_C6_REQUEST \
	"client_id=123456789012-desktopclient.apps.googleusercontent.com" \
	"&client_secret=EXAMPLE-CLIENT-SECRET" \
	"&refresh_token=EXAMPLE%2FREFRESH-TOKEN&grant_type=refresh_token" \
	"&audience=" VEC_AUDIENCE
#define VEC_C1_REQUEST \
	"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&a" \
	"ssertion=" \
	VEC_ASSERTION
#define VEC_C1_RESPONSE \
	"{\"id_token\":\"" \
	VEC_ID_TOKEN_C1 \
	"\"}"
/* 400, clock wrong or lifetime too long */
#define VEC_C2_BODY \
	"{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: To" \
	"ken must be a short-lived token (60 minutes) and in a reasonable t" \
	"imeframe. Check your iat and exp values in the JWT claim.\"}"
/* 400, bad signature */
#define VEC_C3_BODY \
	"{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Sig" \
	"nature.\"}"
/* 400, audience not accepted */
#define VEC_C4_BODY \
	"{\"error\":\"invalid_scope\",\"error_description\":\"Invalid OAuth s" \
	"cope or ID token audience provided.\"}"
/* 400, unknown account */
#define VEC_C5_BODY \
	"{\"error\":\"invalid_grant\",\"error_description\":\"Invalid grant: " \
	"account not found\"}"
/* 500, temporary */
#define VEC_C7_BODY \
	"{\"error\":\"internal_failure\",\"error_description\":\"Backend Erro" \
	"r\"}"
/* 400, wrong aud in the assertion */
#define VEC_C8_BODY \
	"{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: Fa" \
	"iled audience check.\"}"

/* --- D: Google's public keys */
#define VEC_D1_BODY \
	"{\"keys\":[{\"alg\":\"RS256\",\"e\":\"" \
	VEC_GOOGLE_KEY_E \
	"\",\"kid\":\"" \
	VEC_GOOGLE_KEY_KID \
	"\",\"kty\":\"RSA\",\"n\":\"" \
	VEC_GOOGLE_KEY_N \
	"\",\"use\":\"sig\"}]}"
