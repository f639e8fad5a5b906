package devorch.testserver;

import devorch.testserver.api.Problem;

import io.micronaut.context.annotation.Property;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpHeaders;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.annotation.RequestFilter;
import io.micronaut.http.annotation.ServerFilter;

import java.util.List;

/**
 * What stands before every route of the API. Which addresses are open without credentials is Kestra 2.0's rule:
 * the login page's configuration (in 1.3 the whole one), the list of credential errors while there are no usable
 * credentials, and whatever starts with an entry of {@code kestra.server.basic-auth.open-urls}.
 */
@ServerFilter("/api/v1/**")
class ApiFilters {
    private static final String CONFIGURATION = "/api/v1/configs";
    private static final String LOGIN = "/api/v1/configs/login";
    private static final String ERRORS = "/api/v1/basicAuthValidationErrors";

    private final Credentials credentials;
    private final Postgres postgres;
    private final Dialect dialect;
    private final List<String> openUrls;

    ApiFilters(
        Credentials credentials,
        Postgres postgres,
        Dialect dialect,
        @Nullable @Property(name = "kestra.server.basic-auth.open-urls") List<String> openUrls
    ) {
        this.credentials = credentials;
        this.postgres = postgres;
        this.dialect = dialect;
        this.openUrls = openUrls == null ? List.of() : openUrls;
    }

    @RequestFilter
    @Nullable
    HttpResponse<?> authenticate(HttpRequest<?> request) {
        String path = request.getPath();
        boolean open = path.equals(dialect.isOld() ? CONFIGURATION : LOGIN)
            || path.equals(ERRORS) && !credentials.areInitialized()
            || openUrls.stream().anyMatch(path::startsWith);
        if (open || credentials.match(request.getHeaders().get(HttpHeaders.AUTHORIZATION))) {
            return null;
        }
        return HttpResponse.unauthorized().header(HttpHeaders.WWW_AUTHENTICATE, "Basic realm=Kestra");
    }

    /** Kestra's API has nothing to answer from without its database. */
    @RequestFilter
    @Nullable
    HttpResponse<?> refuseWithoutDatabase(HttpRequest<?> request) {
        if (!postgres.isLost()) {
            return null;
        }
        return Problem.of(HttpStatus.INTERNAL_SERVER_ERROR, "internal-error", "Failed to obtain JDBC Connection", request).toResponse();
    }
}
