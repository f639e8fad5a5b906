package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.micronaut.context.annotation.Requires;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.MutableHttpResponse;
import io.micronaut.http.annotation.RequestFilter;
import io.micronaut.http.annotation.ResponseFilter;
import io.micronaut.http.annotation.ServerFilter;

import java.util.List;
import java.util.Map;

/**
 * What 1.3 does on every route: it takes the query parameters from before there were filters as well, and its errors are
 * Micronaut's {@code JsonError}, with the statuses and the first words that a running Kestra of 0.21 was seen to use.
 */
@Requires(property = Dialect.PROPERTY, value = "1.3")
@ServerFilter("/**")
class OldDialect {
    private static final Map<String, Wording> WORDINGS = Map.ofEntries(
        Map.entry("entity-already-exists", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Invalid entity")),
        Map.entry("validation-failed", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Invalid entity")),
        Map.entry("invalid-plugin-type", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Invalid entity")),
        Map.entry("invalid-entity", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Invalid entity")),
        Map.entry("invalid-request-body", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Invalid route params")),
        Map.entry("invalid-argument", new Wording(HttpStatus.UNPROCESSABLE_ENTITY, "Illegal argument")),
        Map.entry("conflict", new Wording(HttpStatus.CONFLICT, "Illegal state")),
        Map.entry("payload-too-large", new Wording(HttpStatus.INTERNAL_SERVER_ERROR, "Internal server error")),
        Map.entry("internal-error", new Wording(HttpStatus.INTERNAL_SERVER_ERROR, "Internal server error"))
    );

    /** How an error begins; the status line has the same words. */
    private record Wording(HttpStatus status, String reason) {
    }

    /** An error of 1.x. */
    @Introspected
    record HalError(String message, Map<String, Link> _links, Map<String, List<Violation>> _embedded) {
    }

    /** Where an error arose. */
    @Introspected
    record Link(String href, boolean templated) {
    }

    /** A violated constraint. */
    @Introspected
    record Violation(String message, String path) {
    }

    @RequestFilter
    void allowOldParameters(HttpRequest<?> request) {
        request.setAttribute(Search.OLD_PARAMETERS, true);
    }

    @ResponseFilter
    void reword(HttpRequest<?> request, MutableHttpResponse<?> response) {
        if (!(response.body() instanceof Problem problem)) {
            return;
        }
        Wording wording = WORDINGS.getOrDefault(problem.name(), new Wording(response.status(), response.status().getReason()));
        response.status(wording.status(), wording.reason());
        response.contentType(MediaType.APPLICATION_JSON_TYPE);
        response.body(error(request, problem, wording.reason()));
    }

    private static HalError error(HttpRequest<?> request, Problem problem, String reason) {
        List<Violation> violations = problem.errors() == null
            ? List.of()
            : problem.errors().stream().map(violation -> new Violation(violation.detail(), violation.path())).toList();
        String detail = problem.detail();
        if (problem.name().equals("entity-already-exists")) {
            // 1.x checks this as one more constraint on the flow.
            violations = List.of(new Violation("Flow id already exists", "flow.id"));
            detail = "flow.id: Flow id already exists";
        }
        return new HalError(
            detail.equals(reason) ? reason : reason + ": " + detail,
            Map.of("self", new Link(request.getUri().toString(), false)),
            violations.isEmpty() ? Map.of() : Map.of("errors", violations)
        );
    }
}
