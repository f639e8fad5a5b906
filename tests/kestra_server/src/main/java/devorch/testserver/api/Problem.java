package devorch.testserver.api;

import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.MutableHttpResponse;
import io.micronaut.http.HttpResponse;

import java.util.List;

/**
 * An error of Kestra 2.0: {@code application/problem+json}, RFC 9457 (docs.kestra.io, "API reference: problems").
 *
 * @param errors one entry a violated constraint, or null
 */
@Introspected
public record Problem(String type, String title, int status, String detail, String instance, List<Violation> errors) {
    private static final String BASE = "https://kestra.io/docs/api-reference/problems/";

    /**
     * A violated constraint.
     *
     * @param pointer the JSON pointer to the offending value
     * @param path the same in Kestra's notation
     */
    @Introspected
    public record Violation(String detail, String pointer, String path) {
    }

    public static Problem of(HttpStatus status, String name, String detail, HttpRequest<?> request) {
        return of(status, name, detail, request, null);
    }

    static Problem of(HttpStatus status, String name, String detail, HttpRequest<?> request, List<Violation> errors) {
        String title = name.substring(0, 1).toUpperCase() + name.substring(1).replace('-', ' ');
        return new Problem(BASE + name, title, status.getCode(), detail, request.getPath(), errors);
    }

    /** The last part of the type, which says what kind of problem it is. */
    String name() {
        return type.substring(BASE.length());
    }

    public MutableHttpResponse<Problem> toResponse() {
        return HttpResponse.<Problem>status(HttpStatus.valueOf(status)).contentType(MediaType.APPLICATION_JSON_PROBLEM_TYPE).body(this);
    }
}
