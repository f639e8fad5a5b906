package devorch.testserver.api;

import com.fasterxml.jackson.core.JsonProcessingException;

import io.kestra.core.models.kv.KVType;
import io.kestra.core.serializers.JacksonMapper;
import io.kestra.core.services.KVStoreService;
import io.kestra.core.storages.kv.KVEntry;
import io.kestra.core.storages.kv.KVMetadata;
import io.kestra.core.storages.kv.KVStore;
import io.kestra.core.storages.kv.KVValue;
import io.kestra.core.storages.kv.KVValueAndMetadata;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Header;
import io.micronaut.http.annotation.Put;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.NoSuchElementException;

/** The key-value store of a namespace (kestrapy 2.0, {@code kv_api.py}; messages as observed). */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces/{namespace}/kv/{key}")
@ExecuteOn(TaskExecutors.IO)
class KeyValueController {
    private final KVStoreService stores;

    KeyValueController(KVStoreService stores) {
        this.stores = stores;
    }

    /** A value and what Kestra took it for. */
    @Introspected
    record Detail(KVType type, Object value, Integer revision, Instant updated) {
    }

    @Get
    Detail get(String namespace, String key) throws Exception {
        KVStore store = stores.get(Tenant.MAIN, namespace);
        KVValue value = store.getValue(key)
            .orElseThrow(() -> new NoSuchElementException("No value found for key '" + key + "' in namespace '" + namespace + "'"));
        KVEntry entry = store.get(key).orElseThrow();
        return new Detail(KVType.from(value.value()), value.value(), entry.revision(), entry.updateDate());
    }

    /** The body is Ion, of which JSON is a part; what is neither is kept as text since 2.0. */
    @Put
    @Consumes({MediaType.TEXT_PLAIN, MediaType.APPLICATION_JSON})
    void put(String namespace, String key, @Body String body, @Nullable @Header("ttl") Duration ttl, @Nullable @Header("description") String description)
        throws IOException {
        Object value;
        try {
            value = JacksonMapper.ofIon().readValue(body, Object.class);
        } catch (JsonProcessingException e) {
            value = body;
        }
        stores.get(Tenant.MAIN, namespace).put(key, new KVValueAndMetadata(new KVMetadata(description, ttl), value));
    }

    @Delete
    @Consumes(MediaType.ALL)
    boolean delete(String namespace, String key) throws IOException {
        return stores.get(Tenant.MAIN, namespace).delete(key);
    }
}
