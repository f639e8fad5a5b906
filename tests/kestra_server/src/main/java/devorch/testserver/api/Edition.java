package devorch.testserver.api;

import io.micronaut.http.HttpRequest;

/**
 * The edition that a request meets. The engine is that of the open-source edition; what the Enterprise edition adds is a
 * stand-in, which only requests with a header of the test server meet.
 */
final class Edition {
    private static final String HEADER = "X-Test-Server-Edition";
    private static final String ENTERPRISE = "EE";

    private Edition() {
    }

    static boolean isEnterprise(HttpRequest<?> request) {
        return ENTERPRISE.equals(request.getHeaders().get(HEADER));
    }

    static String of(HttpRequest<?> request) {
        return isEnterprise(request) ? ENTERPRISE : "OSS";
    }
}
