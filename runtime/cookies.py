"""HTTP clients that many callers share must not carry one's cookies to another."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def no_cookies() -> CookieJar:
    """A jar that stays empty: what answers set is not kept, and not sent again."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
