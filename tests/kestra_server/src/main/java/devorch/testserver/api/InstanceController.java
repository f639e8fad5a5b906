package devorch.testserver.api;

import devorch.testserver.Credentials;
import devorch.testserver.Dialect;

import io.kestra.core.services.InstanceService;
import io.kestra.core.utils.VersionProvider;
import io.micronaut.context.annotation.Value;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the server says about itself (fields of Kestra 2.0's {@code MiscController}). */
@Controller
@ExecuteOn(TaskExecutors.IO)
class InstanceController {
    private static final String OLD_VERSION = "1.3.15";

    private final Credentials credentials;
    private final InstanceService instance;
    private final VersionProvider version;
    private final Dialect dialect;
    private final String url;
    private final String systemNamespace;

    InstanceController(
        Credentials credentials,
        InstanceService instance,
        VersionProvider version,
        Dialect dialect,
        @Nullable @Value("${kestra.url}") String url,
        @Value("${kestra.system-flows.namespace:system}") String systemNamespace
    ) {
        this.credentials = credentials;
        this.instance = instance;
        this.version = version;
        this.dialect = dialect;
        this.url = url;
        this.systemNamespace = systemNamespace;
    }

    @Get(uri = "/ping", produces = MediaType.TEXT_PLAIN)
    String ping() {
        return "pong";
    }

    @Get("/api/v1/configs")
    Map<String, Object> configuration(HttpRequest<?> request) {
        Map<String, Object> configuration = new LinkedHashMap<>();
        configuration.put("uuid", instance.fetch());
        configuration.put("version", dialect.isOld() ? OLD_VERSION : version.getVersion());
        configuration.put("edition", Edition.of(request));
        configuration.put("url", url);
        configuration.put("isCustomDashboardsEnabled", true);
        configuration.put("isAnonymousUsageEnabled", false);
        configuration.put("isBasicAuthInitialized", credentials.areInitialized());
        configuration.put("isAiEnabled", false);
        if (!dialect.isOld()) {
            configuration.put("isPluginAutoInstallEnabled", false);
        }
        configuration.put("preview", Map.of("initial", 100, "max", 5000));
        configuration.put("systemNamespace", systemNamespace);
        configuration.put("hiddenLabelsPrefixes", List.of("system.", "internal."));
        return configuration;
    }

    @Get("/api/v1/basicAuthValidationErrors")
    List<String> credentialErrors() {
        return credentials.validationErrors();
    }
}
