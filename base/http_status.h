/* The reason phrases of HTTP status codes (RFC 9110 section 15). */
#ifndef BASE_HTTP_STATUS_H
#define BASE_HTTP_STATUS_H

/* "Not Found"; "Status" for a code we never use. */
const char *http_status_phrase(unsigned status);

#endif
