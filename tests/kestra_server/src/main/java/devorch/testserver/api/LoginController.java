package devorch.testserver.api;

import devorch.testserver.Credentials;
import devorch.testserver.Dialect;

import io.micronaut.context.annotation.Requires;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;

import java.util.Map;

/** What the login page may know; it came with 2.0, where the whole configuration asks for credentials. */
@Requires(property = Dialect.PROPERTY, value = "2.0")
@Controller("/api/v1/configs/login")
class LoginController {
    private final Credentials credentials;

    LoginController(Credentials credentials) {
        this.credentials = credentials;
    }

    @Get
    Map<String, Boolean> configuration() {
        return Map.of("isBasicAuthInitialized", credentials.areInitialized());
    }
}
